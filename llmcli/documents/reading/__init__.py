"""Reading documents: files, pipes and standard input become texts, or bytes with their extracted text."""
