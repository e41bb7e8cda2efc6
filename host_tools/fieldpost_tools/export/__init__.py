"""Writers of stored records, one file a format, imported when it is asked for."""
