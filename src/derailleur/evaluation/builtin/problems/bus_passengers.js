function bus_passengers(stops, seats){
    let passengers = 0;
    let refused = 0;
    for (const [off, on] of stops) {
        passengers -= off;
        const boarding = Math.min(on, seats - passengers);
        passengers += boarding;
        refused += on - boarding;
    }
    return refused;
}
