"""The ports: rp2, esp32, unix; the only place that imports machine, network, rp2 or esp32."""
