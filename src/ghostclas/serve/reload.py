"""Hot reload: the models are opened anew, and exchanged once all of them have proved themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from ghostclas.errors import GhostclasError
from ghostclas.serve.model import ServedModel, version_of
from ghostclas.serve.notices import note, notice
from ghostclas.serve.opening import Opening, open_model
from ghostclas.serve.service import Service
from ghostclas.zoo import locate


class Reloader:
    """Exchanges the models of a service for what is in their places now.

    Args:
        service: whose models are exchanged.
        models: where they are, by name.
        how: how they are opened.
        count: called for each model with whether it was changed, or refused.
    """

    def __init__(
        self,
        service: Service,
        models: Mapping[str, str],
        how: Opening,
        count: Callable[[str, bool], None] = lambda name, changed: None,
    ) -> None:
        self._service = service
        self._models = models
        self._how = how
        self._count = count
        self._turn = asyncio.Lock()

    async def reload(self) -> bool:
        """Open every model whose bundle is another now, and exchange them all, or none.

        The old ones answer meanwhile, and afterwards what they have accepted. Calls take turns.

        Returns:
            Whether the models in place are those that serve now.
        """
        async with self._turn:
            opened: list[ServedModel] = []
            for name, where in self._models.items():
                try:
                    model = await asyncio.to_thread(self._open, name, where)
                except Exception as error:  # a bug in a runtime must not end a server that works
                    self._count(name, False)
                    kind = "" if isinstance(error, GhostclasError) else f"{type(error).__name__}: "
                    notice(f"error: {name} is not reloaded, and nothing changed: {kind}{error}")
                    for other in opened:
                        other.close()
                    return False
                if model is not None:
                    opened.append(model)
            for model in opened:
                self._service.replace(model)
                self._count(model.name, True)
            names = ", ".join(f"{model.name} (version {model.version})" for model in opened)
            note(f"reloaded: {names}" if opened else "reloaded: every model is as it was")
            return True

    def _open(self, name: str, where: str) -> ServedModel | None:
        """Open a model; ``None`` where its bundle is the one that serves."""
        old = self._service.model(name)
        manifest = locate(where).bundle().manifest
        if version_of(manifest) == old.version:
            return None
        # The same network needs no measurement, which would take the machine from those who ask.
        alike = (manifest.spec, manifest.preprocess) == (old.bundle.spec, old.bundle.preprocess)
        return open_model(name, where, replace(self._how, batch=old.batch) if alike else self._how)
