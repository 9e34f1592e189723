"""CPU and memory of a service's processes, and CPU of the machine, read at each scrape."""

import os
from collections.abc import Iterable

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class ProcessCollector(Collector):
    """Collects metrics of the process `main` (pid) and its descendants, labelled `service`, and of the machine."""

    def __init__(self, service: str, main: int) -> None:
        self._service = service
        self._main = main  # pid

    def collect(self) -> Iterable[Metric]:
        """Yield CPU seconds and resident bytes of each process, and the machine's CPU seconds and processors."""
        labels = ["service", "pid"]
        cpu = CounterMetricFamily("leads_process_cpu_seconds", "CPU time of a process.", labels=labels)
        memory = GaugeMetricFamily("leads_process_resident_memory_bytes", "Memory of a process.", labels=labels)
        for process in _family(self._main):
            try:
                with process.oneshot():
                    times, resident = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                continue
            names = [self._service, str(process.pid)]
            cpu.add_metric(names, times.user + times.system)
            memory.add_metric(names, resident)
        machine = CounterMetricFamily(
            "leads_machine_cpu_seconds", "Time of all processors of the machine, `idle` and `busy`.", labels=["state"]
        )
        spent = psutil.cpu_times()
        idle = spent.idle + getattr(spent, "iowait", 0.0)
        # `user` and `nice` include the guests (man 5 proc).
        guests = getattr(spent, "guest", 0.0) + getattr(spent, "guest_nice", 0.0)
        machine.add_metric(["idle"], idle)
        machine.add_metric(["busy"], sum(spent) - idle - guests)
        processors = GaugeMetricFamily("leads_machine_processors", "Processors of the machine.", os.cpu_count() or 1)
        return cpu, memory, machine, processors


def _family(main: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(main)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
