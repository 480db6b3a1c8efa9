"""The options of `vae` that concern its KL, in the combinations that are tested."""

RATES = {
    "free bits": {"free_bits": 0.1},
    "capacity": {"capacity": 3.0},
    "rising capacity": {"capacity": "linear:0:5:20", "beta": 10.0},
    "cyclical beta": {"beta": "cyclical:0:2:10"},
}
