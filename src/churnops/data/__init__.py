"""Customer tables: read, validate against the Schema, merge, split and impute, and profile.

`read`, `validate` and `merge` use Polars; `preprocess` and `profile` do not, because a served model uses them too.
Import the module you need: this package imports none of them itself.
"""
