"""The network: MQTT, and the delivery of the journal until the district says it has it."""
