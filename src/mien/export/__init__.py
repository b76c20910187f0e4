"""What others take away: models as ONNX, descriptions and features as files."""
