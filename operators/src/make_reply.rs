//! `make_reply`: the row becomes the reply.

use serde::ser::{self, Impossible, Serialize};
use crate::reply::ContentType;
