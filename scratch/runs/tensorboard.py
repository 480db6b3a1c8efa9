"""The event file of a run, for TensorBoard: every number of metrics.jsonl and steps.jsonl as a point of a curve.

    train/loss      of an epoch, as in metrics.jsonl, and each other number on the training images
    held_out/loss   of the same epoch: held_out_loss, and each other held-out number
    speed/seconds   of the same epoch: seconds, images_per_second
    steps/loss      of so many updates, as in steps.jsonl

All curves have one axis: how many updates had been made. The file is made of the lines. A run that is continued removes
its earlier file and writes a new one from the lines that it kept, so no point is lost or there twice, wherever the run
was stopped. The times of those points are then those of their writing.
"""

import io
import math
import os
import time
from pathlib import Path

from scratch.options.errors import InputError
from scratch.runs.files import append, make_folder, names_in, present

FOLDER = "tensorboard"  # in the run's folder
BEGIN, END = "events.out.tfevents.", ".scratch"  # of a file's name: TensorBoard looks for the first, the other is ours
SPEED = ("seconds", "images_per_second")


def library():
    """TensorBoard's own (Event, Summary, SessionLog, RecordWriter). Raises InputError, which says how to install them,
    where they are missing."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise InputError(f"needs the package tensorboard ({error}): pip install tensorboard", "tensorboard") from None
    return Event, Summary, SessionLog, RecordWriter


def check_tensorboard(options):
    """Raises InputError where the options of a run ask for an event file and TensorBoard's writer is missing."""
    if options["tensorboard"]:
        library()


def curve_of(name):
    """The curve of a number in metrics.jsonl: train/loss of loss, held_out/loss of held_out_loss."""
    if name.startswith("held_out_"):
        return f"held_out/{name.removeprefix('held_out_')}"
    return f"{'speed' if name in SPEED else 'train'}/{name}"


def remove_events(run_folder):
    """Remove the event file of a run, if it has one. Files of other programs stay."""
    folder = Path(run_folder) / FOLDER
    for name in names_in(folder) if present(folder) else ():
        if name.startswith(BEGIN) and name.endswith(END):
            os.unlink(folder / name)


class EventFile:
    """The event file of a run (run.py), begun anew with the lines of steps.jsonl and metrics.jsonl so far.

    updates   how many were made so far; None: the last epoch was whole
    """

    def __init__(self, run, steps=(), metrics=(), updates=None):
        self.Event, self.Summary, session, self.RecordWriter = library()
        self.an_epoch = math.ceil(run.config["data"]["training_images"] / run.options["batch_size"])
        self.epochs = 0  # added
        remove_events(run.folder)
        make_folder(run.folder / FOLDER)
        self.path = run.folder / FOLDER / f"{BEGIN}{time.time_ns()}{END}"
        anew = session(status=session.START)  # a TensorBoard that has read an earlier file forgets its points
        self.write([self.Event(wall_time=time.time(), file_version="brain.Event:2"),
                    self.Event(wall_time=time.time(), session_log=anew),
                    *map(self.event_of_steps, steps)])
        self.add_epochs(metrics, updates)

    def add_epochs(self, metrics, updates=None):
        """Add the epochs that were not added yet, out of all `metrics` of the run, after so many updates. The last may
        be an epoch whose end was not reached."""
        events = []
        for line in metrics[self.epochs:]:
            numbers = {curve_of(name): value for name, value in line.items() if name != "epoch"}
            end = line["epoch"] * self.an_epoch
            events.append(self.event(numbers, end if updates is None else min(end, updates)))
        self.write(events)
        self.epochs = len(metrics)

    def add_steps(self, line):
        """Add a line of steps.jsonl."""
        self.write([self.event_of_steps(line)])

    def event_of_steps(self, line):
        return self.event({f"steps/{name}": value for name, value in line.items() if name != "step"}, line["step"])

    def event(self, numbers, step):
        """A point for each {curve: number}."""
        values = [self.Summary.Value(tag=curve, simple_value=number) for curve, number in numbers.items()]
        return self.Event(wall_time=time.time(), step=step, summary=self.Summary(value=values))

    def write(self, events):
        """Add events to the end of the file, all or none."""
        buffer = io.BytesIO()
        writer = self.RecordWriter(buffer)
        for event in events:
            writer.write(event.SerializeToString())
        append(self.path, buffer.getvalue())
