//! Tables that the kernel programs address directly, as global data.
//!
//! The kernel knows such a table as an array map of one value, and takes that as a whole only. So a copy is kept here,
//! and written whole each time: half a mebibyte, some ten microseconds. What does not change is written over with what
//! it was, which a program that reads meanwhile cannot notice.

use super::bpf;
use super::maps::{Raw, refused};
use super::{LoadError, TableError};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use lb_common::wire::Plain;
use std::io;
use std::os::fd::AsFd as _;

/// A table in global data, with the copy that it is written from.
pub(super) struct Direct<T: Plain> {
    map: MapData,
    name: &'static str,
    values: Vec<Raw<T>>,
}

impl<T: Plain + Default> Direct<T> {
    /// Takes a table of so many zeros out of an object that was just loaded.
    pub(super) fn take(object: &mut Ebpf, name: &'static str, length: u32) -> Result<Self, LoadError> {
        let Some(Map::Array(map)) = object.take_map(name) else {
            return Err(LoadError::Incomplete { what: "map", name });
        };
        Ok(Self { map, name, values: vec![Raw(T::default()); length as usize] })
    }

    /// Writes values to their places: all, or nothing if there is no such place.
    pub(super) fn write(&mut self, values: impl Iterator<Item = (u32, T)> + Clone) -> Result<(), TableError> {
        if let Some((index, _)) = values.clone().find(|(index, _)| *index as usize >= self.values.len()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, format!("there is no place {index}"));
            return Err(refused("write to", self.name)(error));
        }
        for (index, value) in values {
            if let Some(place) = self.values.get_mut(index as usize) {
                *place = Raw(value);
            }
        }
        self.flush()
    }

    /// Writes zeros to all places.
    pub(super) fn clear(&mut self) -> Result<(), TableError> {
        self.values.fill(Raw(T::default()));
        self.flush()
    }

    fn flush(&self) -> Result<(), TableError> {
        let whole = self
            .map
            .info()
            .map_err(io::Error::other)
            .and_then(|info| bpf::replace(self.map.fd().as_fd(), &self.values, info.value_size()));
        whole.map_err(refused("write to", self.name))
    }
}
