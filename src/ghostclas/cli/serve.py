"""``ghostclas serve``: REST, gRPC and bRPC for one or several models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve_command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]BUNDLE",
            help="A bundle, a run, a model name, or default; several times for several.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    http: Annotated[int, typer.Option(help="The port of REST, and of bRPC beside it; 0 is any.")] = 8000,
    grpc: Annotated[int, typer.Option(help="The port of gRPC; 0 is any.")] = 8001,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="Serve no gRPC.")] = False,
    brpc: Annotated[int | None, typer.Option(help="A port of bRPC's own; 0 is any.")] = None,
    engine: Annotated[str, typer.Option(help="The runtime, or auto: the fastest installed.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16 or int8, if the model has several; bf16 if OpenVINO supports it."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="The number of cores; all when absent.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="The most photos that are run at once; measured at the start when absent."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that serve; one that dies is replaced.")] = 1,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clients must bring the token in this file.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Clients must show a certificate that these sign, PEM."),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="Change a limit, such as body_bytes.")
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="One JSON object a request on stdout.")
    ] = True,
) -> None:
    """Serve models over REST, gRPC and bRPC.

    Listens on this machine alone unless --host says otherwise. SIGTERM answers what was accepted and ends;
    SIGHUP opens the models anew.
    """
    from ghostclas.serve import Limits, Settings, serve
    from ghostclas.serve.opening import parse_models
    from ghostclas.serve.security import Security

    code = serve(
        Settings(
            models=parse_models(model or ["default"]),
            host=host,
            http=http,
            grpc=None if no_grpc else grpc,
            brpc=brpc,
            engine=engine,
            precision=precision,
            cores=threads,
            batch=batch_size,
            workers=workers,
            limits=Limits.parse(limit or []),
            security=Security.read(
                token_file=token_file,
                certificate=tls_certificate,
                key=tls_key,
                client_authorities=tls_client_ca,
            ),
            access_log=access_log,
        )
    )
    raise typer.Exit(code)
