"""How far the passages of documents support a sentence."""
