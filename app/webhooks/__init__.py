"""Telling tenants: endpoints, the deliveries to them, and every try, by Standard Webhooks 1.0.0.

endpoints    create, change, delete, rotate_secret, forget_old_secrets, send_test, listed, get
relay        from outbox events to deliveries
deliveries   due, deliver, redeliver, listed
signing      secrets and signatures
retries      what follows from a try
config       WebhooksConfig
errors       EndpointDisabled

Owns webhook_endpoint, delivery, delivery_try. An event arrives at least once, under one id.
"""
