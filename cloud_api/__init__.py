"""The cloud: accounts, sync, subscriptions and partners, over HTTP. Stateless processes above PostgreSQL."""
