"""Published facts about patients of public collections: splits and defects."""

from collections.abc import Callable

from cpca_jax.data.collections.lodopab import part_of

# The split of the LDCT benchmark (Eulig, Ommer, Kachelriess, Med Phys 51(12):8776-8788, 2024):
# the Siemens patients of LDCT-and-Projection-data, 35, 10 and 5 of each region, as listed in
# ldctbench/data/info.yml of github.com/eeulig/ldct-benchmark.
_LDCT_BENCHMARK = {
    "train": """
        C002 C004 C012 C016 C021 C027 C030 C050 C077 C081 C095 C099 C111 C120 C124 C128 C130 C158
        C160 C162 C166 C179 C193 C203 C218 C224 C234 C241 C246 C252 C257 C261 C267 C268 C296
        L004 L019 L049 L056 L057 L064 L071 L072 L075 L081 L110 L114 L116 L125 L131 L134 L145 L148
        L150 L160 L170 L175 L178 L203 L209 L210 L219 L229 L232 L237 L248 L266 L273 L277 L299
        N005 N012 N030 N051 N053 N072 N076 N082 N085 N100 N105 N113 N127 N132 N140 N141 N156 N160
        N169 N175 N177 N180 N181 N187 N190 N202 N204 N209 N216 N236 N264 N265 N270 N293 N298
    """,
    "validation": """
        C052 C067 C107 C190 C202 C219 C227 C232 C258 C295
        L014 L033 L058 L077 L123 L179 L186 L187 L193 L212
        N024 N047 N056 N079 N139 N188 N198 N252 N279 N300
    """,
    "test": """
        C121 C135 C170 C249 C280
        L006 L107 L220 L221 L241
        N090 N138 N153 N176 N284
    """,
}
_OF_BENCHMARK = {
    patient: split for split, listed in _LDCT_BENCHMARK.items() for patient in listed.split()
}

# Functions by the name of a published split: from a patient to its split, or None for no split.
SPLITS_BY_NAME: dict[str, Callable[[str], str | None]] = {
    "ldct-benchmark": _OF_BENCHMARK.get,
    "lodopab": part_of,
}

# Patients of LDCT-and-Projection-data (README of github.com/YCL92/TMD-LDCT). They are reported
# and not refused: the checks of geometry and noise find faulty images.
KNOWN_DEFECTS = {
    "L035": "the series of the two dose levels are said not to match",
    "L049": "is said to be incomplete",
    "L144": "the noise quanta in its attributes are said to be wrong",
    "L148": "one low-dose projection file is said to be corrupt",
}
