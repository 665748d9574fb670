"""The components of one layer, with their state."""

from collections.abc import Callable, Iterator, Sequence

from deepbelief.backends import Product
from deepbelief.components.component import Component, TrainingStep
from deepbelief.gradients import Arrays, Gradient
from deepbelief.typing import DeviceArray

Hook = Callable[..., None]


class Parts:
    """Runs the hooks of some components, each with its own state.

    Parameters
    ----------
    components : sequence of Component
        In the order of their ``order``.
    step : TrainingStep
        Machine, phases and position that all of them see.
    """

    def __init__(self, components: Sequence[Component], step: TrainingStep) -> None:
        self.components = sorted(components, key=lambda component: component.order)
        self._step = step
        self.state: dict[str, Arrays] = {each.name: dict(each.start(step)) for each in self.components}
        self._hooks: dict[str, list[tuple[Hook, Arrays]]] = {}
        if self.has("observe"):
            step.phases.observers.append(lambda h: self.call("observe", h))

    def _defined(self, hook: str) -> list[tuple[Hook, Arrays]]:
        """Return each component's implementation of a hook, with its state."""
        if hook not in self._hooks:
            own = (c for c in self.components if getattr(type(c), hook) is not getattr(Component, hook))
            self._hooks[hook] = [(getattr(c, hook), self.state[c.name]) for c in own]
        return self._hooks[hook]

    def has(self, hook: str) -> bool:
        """Return whether a component defines this hook."""
        return bool(self._defined(hook))

    def call(self, hook: str, *arguments: object) -> None:
        """Call a hook of all components that define it."""
        for function, state in self._defined(hook):
            function(self._step, state, *arguments)

    def adjusted(self, grads: Gradient) -> Gradient:
        """Return the gradients after all components have changed them; that of W is multiplied out where needed."""
        W = grads[0]
        if isinstance(W, Product) and any(component.weight_gradient for component in self.components):
            grads = (W.array(self._step.machine.bk), *grads[1:])
        changed = list(grads)
        self.call("adjust", changed)
        W, vbias, hbias = changed
        return W, vbias, hbias

    def entered(self, rows: DeviceArray) -> DeviceArray:
        """Return rows as they enter the machine, without changing the given ones."""
        if not self.has("enter"):
            return rows
        rows = rows.copy()
        self.call("enter", rows)
        return rows

    def shared(self) -> Iterator[DeviceArray]:
        """Iterate over the arrays that workers of a cluster average."""
        for component in self.components:
            state = self.state[component.name]
            yield from (state[name] for name in component.shared(state))
