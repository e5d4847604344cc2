"""Says which numbers of a run are not as good as asked; never measures."""

import operator

REACHED = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


def missed(results, bars, *, whole):
    """The bars that are not reached, in words; of a whole run also those that nothing was measured for."""
    for name, (sign, bar) in bars.items():
        if name not in results:
            if whole:
                yield f"{name} was not measured"
        elif not REACHED[sign](results[name], bar):
            yield f"{name} is {results[name]}, must be {sign} {bar}"
