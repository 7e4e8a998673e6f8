"""Put on PYTHONPATH, this has ultralytics take two processes on the CPU for two GPUs, joined by gloo and not NCCL."""

import importlib.abc
import importlib.machinery
import sys

PATCHED = "ultralytics.engine.trainer"


class Finder(importlib.abc.MetaPathFinder):
    """Patches the module as soon as it is there."""

    def find_spec(self, name, path, target=None):
        if name != PATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            patch(module)

        spec.loader.exec_module = exec_module
        return spec


def patch(module):
    import torch

    module.parse_device = lambda device: device
    module.select_device = lambda *_, **__: torch.device("cpu")
    trainer = module.BaseTrainer
    trainer.world_size = property(lambda _: 2, lambda _, value: None)  # a trainer on a CPU would set 0
    trainer._setup_ddp = lambda _: module.dist.init_process_group("gloo", rank=module.RANK, world_size=2)
    parallel = module.nn.parallel.DistributedDataParallel
    module.nn.parallel.DistributedDataParallel = lambda model, device_ids, **more: parallel(model, **more)


sys.meta_path.insert(0, Finder())
