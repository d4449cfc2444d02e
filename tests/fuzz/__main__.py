"""`make fuzz`: TCP under conversations that nobody would hold, or DNS under mutated messages.

    python -m tests.fuzz --seconds 60 --jobs 2 --seed 1 [--executions 5000000] [--grow]
    python -m tests.fuzz --target dns --executions 1000000 --seconds 3600

An execution is one operation of conversation.py (a segment, a call, a passage of time), or one
message of names.py, after which every invariant was checked. --grow writes what reached new
things to the corpus (of TCP).
"""

import multiprocessing
import time

import click

from tests.fuzz import engine, names


def _job(seed, executions, seconds, programs, channel, target):
    e = engine.Engine(seed) if target == "tcp" else names.Engine(seed)
    known = set(programs)
    try:
        for p in programs:
            e.try_one(p)
        e.run(executions, seconds, lambda e: channel.put(("at", seed, e.executions)))
    except engine.Failure as f:
        short = (engine if target == "tcp" else names).shorten(f.program)
        channel.put(("failed", seed, (short, str(f))))
    fresh = [p for p in e.programs if p not in known]
    channel.put(("done", seed, (e.executions, len(e.reached), fresh, e.checks)))


@click.command()
@click.option("--seconds", default=60.0, help="at most so long")
@click.option("--executions", default=1 << 40, help="at most so many, of all jobs")
@click.option("--jobs", default=1, help="processes")
@click.option("--seed", default=None, type=int, help="repeats a run (with one job, exactly)")
@click.option("--target", type=click.Choice(["tcp", "dns"]), default="tcp", help="what is fuzzed")
@click.option("--grow", is_flag=True, help="write the corpus")
def main(seconds, executions, jobs, seed, target, grow):
    seed = int(time.time()) if seed is None else seed
    corpus = engine.read_corpus() if target == "tcp" else []
    print(f"seed {seed}, {jobs} jobs, {len(corpus)} programs in the corpus", flush=True)
    channel = multiprocessing.Queue()
    args = (executions // jobs, seconds, corpus, channel, target)
    running = [multiprocessing.Process(target=_job, args=(seed + i, *args)) for i in range(jobs)]
    began = time.monotonic()
    for p in running:
        p.start()
    at, found, failures, left, told = {}, [], [], jobs, began
    looks = 0
    while left:
        kind, who, said = channel.get()
        if kind == "at":
            at[who] = said
            if time.monotonic() - told > 30:
                told = time.monotonic()
                n = sum(at.values())
                print(f"{n:,} executions, {n / (told - began):,.0f} a second", flush=True)
        elif kind == "failed":
            failures.append(said)
            print(f"FAILED (seed {who}): {said[1]}\n  program {said[0].hex()}", flush=True)
        else:
            left -= 1
            at[who] = said[0]
            found += said[2]
            looks += said[3]
            print(f"job {who - seed}: {said[0]:,} executions, {said[1]} things reached", flush=True)
    for p in running:
        p.join()
    n, took = sum(at.values()), time.monotonic() - began
    print(f"{n:,} executions in {took:.0f} s, all invariants looked at {looks:,} times (also as "
          f"timers expire), {len(found)} programs reached new things")
    if grow and target == "tcp" and not failures:
        kept = engine.distil(corpus + found)
        engine.write_corpus(kept)
        print(f"corpus: {len(kept)} programs, {engine.CORPUS.stat().st_size} bytes")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
