"""What can be known of a study before its first job: settings, tables and images against one another."""
