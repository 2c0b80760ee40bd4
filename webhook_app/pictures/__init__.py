"""What bytes are: format, size, hash, thumbnails. Bytes are believed, headers are not."""
