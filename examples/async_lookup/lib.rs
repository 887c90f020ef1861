//! The example is the file beside this one.
