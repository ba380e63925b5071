"""`python -m tests.bench.perf.importer ADDRESS USER COUNT`: another user's import, in a process of its own.

It prints a line when it has read the notes, and then sends them. It ends with exit code 1 when one was not created.
"""

import asyncio
import sys

import grpc

from protos.node.v1 import node_pb2, node_pb2_grpc
from tests.bench.similarity.corpus import collection, read, samples


async def main(address: str, user_id: str, count: str) -> None:
    notes = samples(read(collection()), int(count))
    async with grpc.aio.insecure_channel(address) as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        print("sending", flush=True)
        for start in range(0, len(notes), 100):
            news = [
                node_pb2.NewNode(node_id=each.node_id, title=each.title, content=each.text)
                for each in notes[start : start + 100]
            ]
            request = node_pb2.BatchCreateNodesRequest(user_id=user_id, nodes=news)
            answer = await stub.BatchCreateNodes(request, timeout=120)
            if refused := [result.reason for result in answer.results if result.code]:
                sys.exit(f"{len(refused)} notes were not created: {refused[0]}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
