"""Opening of the teacher that a configuration names; only teachers that need torch import it."""

from __future__ import annotations

from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.runtime_teacher import BundleTeacher, OnnxTeacher
from ghostclas.ssld.teacher import Teacher
from ghostclas.zoo import locate


def open_teacher(config: TeacherConfig, *, threads: int | None = None, device: str = "cpu") -> Teacher:
    """Open the teacher that the configuration names.

    Args:
        config: see :class:`~ghostclas.ssld.config.TeacherConfig`.
        threads: the number of cores it may use; all when absent.
        device: the device of a torch network.

    Raises:
        UsageError: there is no such teacher, or it does not take a setting.
        DataError: a list of classes does not fit its outputs.
        BundleError: a bundle or file does not verify or load.
        MissingExtraError: the package that carries it is not installed.
    """
    located = locate(config.model)
    if located.kind == "network":
        from ghostclas.ssld.torch_teacher import open_torch_teacher

        return open_torch_teacher(config, device=device)
    if located.kind == "onnx":
        return OnnxTeacher(config, threads=threads)
    return BundleTeacher(config, threads=threads)


def open_training_teacher(config: TeacherConfig, *, device: str = "cpu") -> Teacher:
    """Open a teacher for training: a torch network, or an ONNX file that runs beside torch.

    Raises:
        UsageError, DataError, BundleError, MissingExtraError: as ``open_teacher`` does.
    """
    import torch

    from ghostclas.ssld.torch_teacher import open_torch_teacher

    if locate(config.model).kind == "onnx":
        # As many threads as torch uses.
        return OnnxTeacher(config, threads=torch.get_num_threads())
    return open_torch_teacher(config, device=device)
