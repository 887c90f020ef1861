//! The examples of Snapback; each is a file beside this one.
