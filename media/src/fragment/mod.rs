//! Fragments as `GetMedia` and `GetMediaForFragmentList` return them.

mod metadata;
mod number;
mod reader;

pub use metadata::{FragmentMetadata, FragmentTag};
pub use number::{FragmentNumber, InvalidFragmentNumber};
pub use reader::{Fragment, FragmentError, FragmentReader};
