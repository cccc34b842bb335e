"""bascule's core: a snapshot of the cluster and the bridges in it -> everything that should exist, and the plan to get there.

    objects, problems = generator.text.reading.read(text, "shop.yaml")
    snapshot = generator.cluster.snapshot.Snapshot.of(objects, now="2026-11-24T22:30:00Z")
    desired = generator.desired.generate.generate(snapshot)     # objects, reasons, problems
    changes = generator.plan.plan(snapshot, desired)            # guarded RFC 6902 patches

Nothing is imported here: the command line starts in a few milliseconds, and says `--help` without the core.
"""
