"""Vision-language models that run in this process through transformers."""
