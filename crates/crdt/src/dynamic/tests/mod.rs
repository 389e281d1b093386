mod agreement;
mod hostile;
