"""kblam inside other frameworks."""
