"""ONNX models, and how YOLOX and YuNet are fed and read. Knows neither people nor subjects."""
