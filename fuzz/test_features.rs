//! Empty. scripts/fuzz builds it beside the fuzz targets, so that Cargo enables the features that the tests enable, and the
//! dependencies of the tests' build are used as they are.
