"""Pure protocol: values in, values out. No input, output, clock or randomness."""
