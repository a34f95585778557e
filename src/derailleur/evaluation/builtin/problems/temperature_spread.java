public static HashMap<String,Float> temperatureSpread(HashMap<String,ArrayList<Float>> readings) {
    HashMap<String, Float> spread = new HashMap<>();
    readings.forEach((city, values) -> {
        if (!values.isEmpty()) {
            spread.put(city, Collections.max(values) - Collections.min(values));
        }
    });
    return spread;
}
