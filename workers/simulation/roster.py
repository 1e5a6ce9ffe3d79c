"""Which bodies are simulated, and how each is reached (domain.md, section 5: the 22 of the demonstration)."""

SIMULATED_BY_ADAPTER: frozenset[str] = frozenset(
    "HMRC DWP IE BF HMPPS HMPO NTS DVSA DVLA INSS CH FCA NCA NHSCFA MHRA NFCU".split()
)
"""Bodies that a worker answers for through `workers.adapters.simulated`."""

OUTSIDE_CLIENTS: frozenset[str] = frozenset("NRW GLAA SIA HSE LA-MTYDFIL FRS-SWALES".split())
"""Bodies that poll their inbox over HTTP from a process of their own (`workers.simulation.clients`)."""

SIMULATED: frozenset[str] = SIMULATED_BY_ADAPTER | OUTSIDE_CLIENTS
"""All 22."""
