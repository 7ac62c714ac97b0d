#!/bin/sh
# Installs llm in the active Python environment without a compiler: the Python binding alone, and a prebuilt llama.cpp.
set -eu
cd "$(dirname "$0")"
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

# the binding without llama.cpp; not from pip's cache and not into it, where it would later stand for a compiled one
none=/usr/bin/true
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DCMAKE_C_COMPILER_FORCED=ON -DCMAKE_CXX_COMPILER_FORCED=ON -DCMAKE_C_COMPILER=$none -DCMAKE_CXX_COMPILER=$none" \
  pip wheel --quiet --no-deps --no-cache-dir --no-binary llama-cpp-python --wheel-dir "$wheels" llama-cpp-python==0.3.36
pip install --quiet "$wheels"/llama_cpp_python-*.whl .

llm engine install --yes
