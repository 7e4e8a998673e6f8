"""What else runs or serves the same model. Each file runs with the Python that ``--peers`` of ``serving.py`` names.

It needs, in the versions of requirements/train.txt where that has them: torch torchvision ultralytics openvino nncf
onnx onnxslim opencv-python-headless litserve bentoml. They are in no lock of Hakka's.
"""
