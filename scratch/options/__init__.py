"""What an option is, where all of them are gathered, the presets, and the checks made from the declarations."""
