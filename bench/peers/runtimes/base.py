# SPDX-License-Identifier: Apache-2.0
"""What the comparison asks of a runtime. No runtime is in here."""
import dataclasses
import importlib.metadata


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to hand a network to a runtime. All are timed, the fastest is compared."""
    form: str                   # a key of networks.FORMS
    option: str = ""            # what else the runtime's export() knows
    startup_only: bool = False  # same speed as another variant, but made to load faster
    compiled: bool = False      # the exported file depends on the number of threads and on the ISA

    @property
    def name(self):
        return self.form + (f", {self.option}" if self.option else "")

    def stem(self, threads, isa):
        """The exported file's name, without an ending."""
        parts = [self.form] + ([self.option.replace(" ", "-")] if self.option else [])
        parts += [f"{threads}t", isa] if self.compiled else []
        return "-".join(parts)


class Runtime:
    title = ""          # as its makers write it
    distributions = ()  # what pip calls it; the first one's version is told
    folders = ()        # parts of paths in site-packages: libraries mapped from there have to be shipped
    left_out = ()       # parts of paths of libraries among these that inference on a CPU does not need
    variants = ()
    settings = ""       # how it is set up, for the report
    tolerance = 1e-4    # largest error allowed, of the largest value, against torch in float64

    def version(self):
        return importlib.metadata.version(self.distributions[0])

    def environment(self, threads, isa):
        """Environment variables of its worker process. `isa` is "" or the instruction set to hold it to."""
        return {}

    def honours(self, isa):
        """Whether the runtime can be held to this instruction set."""
        return False

    def export(self, variant, network, example, stem, threads, isa):
        """Writes the network (a torch module, in the variant's form) for the torch tensor `example`, to files that
        begin with the path `stem`. Runs in a process of its own, with torch at hand."""
        raise NotImplementedError

    def imports(self):
        """Imports the runtime: what happens before the clock of a start-up starts."""
        raise NotImplementedError

    def open(self, variant, stem, case, threads):
        """A Session on what export() wrote."""
        raise NotImplementedError


class Session:
    """A loaded network. run() is what is timed; input and output stay where the runtime wants them."""

    def set_input(self, image):
        raise NotImplementedError

    def run(self):
        raise NotImplementedError

    def output(self):
        """NCHW, as a numpy array of its own."""
        raise NotImplementedError

    def isa(self):
        """The instruction set that runs, where the runtime says so."""
        return ""
