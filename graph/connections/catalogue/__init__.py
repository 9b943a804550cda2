"""GraphQL of the catalogue of a connected database: schemas and the objects in them."""
