"""A Terraform provider that knows a schema and does nothing: enough for `validate`, and for `test` with its mocks.

Terraform asks a registry for a provider's program, unless it is told where one runs already. This one runs in the
test's own process, on a socket in a folder of its own; what it knows is in `schema/`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from tf.gen import tfplugin_pb2 as plugin

SCHEMAS = Path(__file__).parent / "schema"
PROVIDERS = {
    name: json.loads((SCHEMAS / f"{name}.json").read_text("utf-8")) for name in ("opentelekomcloud", "huaweicloud")
}
PROTOCOL = 6

Arguments = Mapping[str, Any]  # as read_schema.py describes them


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Both providers on sockets in this folder; the variables that lead Terraform there."""
    servers, attached = [], {}
    for name, schema in PROVIDERS.items():
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((_handlers(schema),))
        socket = folder / f"{name}.socket"
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        servers.append(server)
        attached[f"registry.terraform.io/{name}/{name}"] = {
            "Protocol": "grpc",
            "ProtocolVersion": PROTOCOL,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "unix", "String": str(socket)},
        }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps(attached)}
    finally:
        for server in servers:
            server.stop(None).wait()


def _handlers(schema: Mapping[str, Any]) -> grpc.GenericRpcHandler:
    metadata = plugin.GetMetadata.Response(
        resources=[plugin.GetMetadata.ResourceMetadata(type_name=name) for name in schema["resources"]],
        data_sources=[plugin.GetMetadata.DataSourceMetadata(type_name=name) for name in schema["data"]],
    )
    told = plugin.GetProviderSchema.Response(
        provider=_schema(schema["provider"]),
        resource_schemas={name: _schema(of) for name, of in schema["resources"].items()},
        data_source_schemas={name: _schema(of) for name, of in schema["data"].items()},
    )
    return grpc.method_handlers_generic_handler(
        f"tfplugin{PROTOCOL}.Provider",
        {
            "GetMetadata": _answers(metadata),
            "GetProviderSchema": _answers(told),
            "ValidateProviderConfig": _answers(plugin.ValidateProviderConfig.Response()),
            "ValidateResourceConfig": _answers(plugin.ValidateResourceConfig.Response()),
            "ValidateDataResourceConfig": _answers(plugin.ValidateDataResourceConfig.Response()),
            "ConfigureProvider": _answers(plugin.ConfigureProvider.Response()),
            "GetFunctions": _answers(plugin.GetFunctions.Response()),
            "StopProvider": _answers(plugin.StopProvider.Response()),
        },
    )


def _answers(response: Any) -> grpc.RpcMethodHandler:  # noqa: ANN401 - a message of the protocol
    """A method that always answers the same; what is asked is not looked at."""
    answer: bytes = response.SerializeToString()
    behaviour: Callable[[bytes, grpc.ServicerContext], bytes] = lambda _request, _context: answer  # noqa: E731
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _schema(arguments: Arguments) -> plugin.Schema:
    return plugin.Schema(version=0, block=_block(arguments))


def _block(arguments: Arguments) -> plugin.Schema.Block:
    attributes, blocks = [], []
    for name, said in arguments.items():
        if isinstance(said, str):
            required, computed = said.endswith("!"), not said.endswith("!")
            optional = not said.endswith(("!", "="))
            attributes.append(
                plugin.Schema.Attribute(
                    name=name, type=_type(said.rstrip("!=")), required=required, optional=optional, computed=computed
                )
            )
        else:
            blocks.append(
                plugin.Schema.NestedBlock(
                    type_name=name,
                    block=_block(said["of"]),
                    nesting=plugin.Schema.NestedBlock.LIST,
                    min_items=int(said["block"].endswith("!")),
                    max_items=int(said["block"].startswith("one")),
                )
            )
    return plugin.Schema.Block(version=0, attributes=attributes, block_types=blocks)


def _type(said: str) -> bytes:
    """The type as Terraform writes it on the wire."""
    outer, _, inner = said.rstrip(")").partition("(")
    return json.dumps([outer, inner] if inner else {"any": "dynamic"}.get(outer, outer)).encode()
