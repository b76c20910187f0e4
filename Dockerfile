# mien for a CPU: `docker build -t mien .`, then `docker run --rm -v "$PWD:/work" mien predict photo.jpg`.
FROM python:3.13-slim-trixie AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /source
# A CPU build of torch; the one from PyPI brings gigabytes of CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements requirements
RUN python -m venv /usr/local/mien \
    && /usr/local/mien/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" -r requirements/torch.txt
COPY . .
RUN grep -v -e '--only-binary' -e '--hash' requirements/dev.txt | sed 's/ *\\$//' > /tmp/constraints.txt \
    && /usr/local/mien/bin/pip install --no-cache-dir -c /tmp/constraints.txt '.[remote,onnx,pandas,serve]'

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="mien" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /usr/local/mien /usr/local/mien
COPY recipes /usr/share/mien/recipes
ENV PATH=/usr/local/mien/bin:$PATH XDG_CACHE_HOME=/cache HF_HOME=/cache/huggingface PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 mien && mkdir /cache /work && chown mien /cache /work
USER 1000
WORKDIR /work
VOLUME ["/cache"]
ENTRYPOINT ["mien"]
CMD ["--help"]
