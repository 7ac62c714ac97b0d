"""Reading documents: files, pipes and standard input become texts, or bytes and the text in them."""
