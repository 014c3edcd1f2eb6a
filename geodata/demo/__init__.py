"""``geodata demo``: the main job end to end, and the code to read first.

The whole of training is one function, `geodata.demo.train.train`; in short::

    sampler = RandomPatchSampler(ds, size=plan.size, length=plan.steps * plan.batch_size, seed=plan.seed)
    loader = gd.Loader(ds, sampler=sampler, batch_size=plan.batch_size, threads=2)
    change = T.Compose([plan.normalize, T.RandomFlip(), T.RandomRotate90()], seed=plan.seed)
    ...
    for batch in show(loader):
        batch = change(batch)
        scores = model(batch["image"])
        loss = F.cross_entropy(scores, targets(batch), weight=plan.weight, reduction="sum")
        optimiser.zero_grad()
        (loss / scores[:, 0].numel()).backward()
        optimiser.step()
        schedule.step()
"""

from __future__ import annotations

from geodata.demo.archive import write_archive
from geodata.demo.inputs import Job
from geodata.demo.run import run_demo

__all__ = ["Job", "run_demo", "write_archive"]
