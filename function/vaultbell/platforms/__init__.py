"""Who calls us: one file a platform. Each makes an `Event` of what it is handed, and writes the report down."""
