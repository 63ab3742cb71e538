#!/bin/sh
# Builds the environment of the peers st-onnx and st-openvino: sentence-transformers with its own
# extras, and nothing of this package.
#
#   benchmarks/peers/environment.sh [FOLDER] [PYTHON]
#       FOLDER: default .venv-peers; PYTHON: default .venv/bin/python, whose runtimes it pins
#
# They have no place in .venv: optimum-onnx 0.1.0, the newest, asks for transformers before 4.58,
# which sentence-transformers 6 no longer takes, and optimum-intel 2.2.0 for transformers before 5.6.
# Below is what pip resolves for 'sentence-transformers[onnx,openvino]', which takes it long to find.
set -eu
cd "$(dirname "$0")/../.."
folder=${1:-.venv-peers}
python=${2:-.venv/bin/python}
"$python" -m venv "$folder"
"$python" - >"$folder/same.txt" <<'PINS'
from importlib.metadata import version

for name in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
    print(f"{name}=={version(name)}")
PINS
"$folder/bin/python" -m pip install --quiet -c "$folder/same.txt" \
    sentence-transformers==5.7.0 transformers==4.57.6 datasets==4.4.2 \
    optimum==2.1.0 optimum-onnx==0.1.0 optimum-intel==1.27.0 \
    torch onnx onnxruntime openvino openvino-tokenizers nncf
"$folder/bin/python" -c 'import optimum.intel.openvino, optimum.onnxruntime, sentence_transformers'
echo "export RERANK_PEERS_PYTHON=$(cd "$folder" && pwd)/bin/python"
