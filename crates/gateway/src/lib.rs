//! REST and web pages; owns all wire shapes.
