//! Audio, video and picture codecs of greenroom, each behind a small interface, so that a library can be replaced.
