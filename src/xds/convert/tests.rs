mod refusals;
mod safety;
mod trips;
