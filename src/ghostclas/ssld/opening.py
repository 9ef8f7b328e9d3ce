"""Open the teacher that a configuration names; torch is imported for those alone that need it."""

from __future__ import annotations

from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.runtime_teacher import BundleTeacher, OnnxTeacher
from ghostclas.ssld.teacher import Teacher
from ghostclas.zoo import locate


def open_teacher(config: TeacherConfig, *, threads: int | None = None, device: str = "cpu") -> Teacher:
    """Open the teacher that the configuration names.

    Args:
        config: see :class:`~ghostclas.ssld.config.TeacherConfig`.
        threads: how many cores it may use; all when absent.
        device: where a network of torch runs.

    Raises:
        UsageError: there is no such teacher, or a setting that it does not take.
        DataError: a list of classes that does not fit its outputs.
        BundleError: a bundle or file that does not verify or load.
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
    """Open a teacher to train with: a network of torch, or an ONNX file beside torch.

    Raises:
        UsageError, DataError, BundleError, MissingExtraError: as ``open_teacher`` does.
    """
    import torch

    from ghostclas.ssld.torch_teacher import open_torch_teacher

    if locate(config.model).kind == "onnx":
        # On as many cores as torch uses here.
        return OnnxTeacher(config, threads=torch.get_num_threads())
    return open_torch_teacher(config, device=device)
