"""llama.cpp's own HTTP server (from the package xllamacpp) on a free port of this machine.

    python3 llama_server.py MODEL.gguf --context N --slots N --threads N

Prints its address on standard output as one JSON line, then serves until it is told to stop.
"""
import argparse
import json
import signal
import socket
import sys

import xllamacpp


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--context", type=int, required=True, help="tokens of all slots together")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.n_ctx = options.context
    params.n_parallel = options.slots
    params.kv_unified = True
    params.cache_prompt = True
    params.cache_ram_mib = 8192
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.warmup = False
    params.port = free_port()
    params.n_threads_http = 64
    server = xllamacpp.Server(params)
    print(json.dumps({"url": server.listening_address}))
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
