//! The derive macro of Snapback's rows.
